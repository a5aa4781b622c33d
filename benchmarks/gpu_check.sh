#!/usr/bin/env bash
# What only a GPU can tell. The kernels of deformable attention: first that they are right, then how fast they are. Recorded
# steps of translation: first that they change no word, then how fast they are beside Hugging Face.
#   bash benchmarks/gpu_check.sh [figures.json] [folder with the reference operator's sources]
# Needs PyTorch, Triton, jaxtyping, SciPy, pytest and what benchmarks/machine.py names; translation needs transformers,
# sacrebleu and tokenizers, and is left out where they are not installed. Nothing has to be installed.
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
words=0
if "$python" -c "import transformers, sacrebleu, tokenizers" 2>/dev/null; then
  "$python" -m pytest --noconftest -c /dev/null --rootdir . -p no:cacheprovider -q \
    tests/unit/tasks/decoding/test_captured.py && "$python" benchmarks/translation_speed.py --device cuda --json translation.json
  words=$?
  echo "translation: exit $words"
fi
exit $((right || fast || words))
