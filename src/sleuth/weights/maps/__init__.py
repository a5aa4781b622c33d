"""Key maps: one file for each origin, tables as data."""
