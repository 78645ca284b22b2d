"""One test per statement of an RFC that the endpoints claim; README.md has the table."""
