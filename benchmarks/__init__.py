"""The figures of the README, measured again: `make figures`, or `python -m benchmarks NAME ...`."""
