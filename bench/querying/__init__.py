"""What `bench/query.py` measures, a claim a module; each answers `measure(quick)`: figures by name."""
