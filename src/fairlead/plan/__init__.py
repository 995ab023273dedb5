"""What: the typed, ordered difference between what the file asks for and what the project has. Pure."""
