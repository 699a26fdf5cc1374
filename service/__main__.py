"""`python -m service`."""

from service.cli import main

if __name__ == "__main__":  # the probe process imports this module again
    main()
