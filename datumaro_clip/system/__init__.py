"""What the operating system provides: files, terminals, processors, library versions, entry points, addresses."""
