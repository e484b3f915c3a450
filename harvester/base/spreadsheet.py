"""What a spreadsheet makes of a CSV file, for the two places that write one.

Rule: constants only.
"""

BOM = "\ufeff"
"""Begins the file: without it Excel on Windows takes UTF-8 for the encoding of the machine."""
FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
"""How a text begins that is taken for a formula; such a text gets an apostrophe before it."""
