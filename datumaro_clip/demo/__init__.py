"""Drawn pictures and the demonstration on them; nothing of the core imports this."""
