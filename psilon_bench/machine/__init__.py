"""All state of the process and the machine: device, memory, garbage collector, signals, other processes."""
