"""What things cost, measured on the machine at hand. `python -m benchmarks NAME` runs one."""
