"""Many runs: plan, stacks, placement, retries, processes, other launchers."""
