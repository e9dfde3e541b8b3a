"""`python -m geotoken` is the command `geotoken`.

Owns nothing; must not do anything that the command does not.
"""

from geotoken.cli import main

if __name__ == "__main__":
    main()
