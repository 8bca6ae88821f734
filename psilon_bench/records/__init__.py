"""What is kept of a run on disk, how it is identified, and how it is read again."""
