"""datumaro-clip as Python functions: items, files, vectors or a store in, decisions, groups or hits out."""
