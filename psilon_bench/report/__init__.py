"""From records to tables and figures. Each figure is one file in figures/."""
