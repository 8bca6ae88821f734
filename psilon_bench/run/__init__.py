"""One run or one stack from its checks to its record, and what the terminal shows of it."""
