#!/usr/bin/env bash
# The kernels of deformable attention on a GPU: first that they are right, then how fast they are.
#   bash benchmarks/gpu_check.sh [figures.json] [folder with the reference operator's sources]
# Needs PyTorch, Triton, jaxtyping, SciPy, pytest and what benchmarks/machine.py names; nothing has to be installed.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=src PYTHONUNBUFFERED=1
unset TRITON_INTERPRET
python=${PYTHON:-python3}
figures=${1:-deformable-attention.json}
reference=()
if [ -n "${2:-}" ]; then reference=(--reference "$2"); fi
parallel=()
if "$python" -c "import xdist" 2>/dev/null; then parallel=(-n 6); fi
"$python" -m pytest --noconftest -c /dev/null --rootdir . -p no:cacheprovider -q --durations=5 "${parallel[@]}" \
  tests/parity/deformable_triton_cases.py
right=$?
"$python" benchmarks/deformable_attention.py --device cuda --json "$figures" "${reference[@]}"
fast=$?
echo "parity: exit $right, benchmark: exit $fast"
exit $((right || fast))
