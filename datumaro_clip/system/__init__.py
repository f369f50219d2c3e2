"""What the operating system gives: whole files, safe names, temporary space, processors, library versions."""
