"""What people see of runs: the bar, the page in the dashboard, the status table, notebooks."""
