"""How a spreadsheet reads a CSV file, for the two places that write one.

Rule: constants only.
"""

BOM = "\ufeff"
"""At the beginning of the file: without it Excel on Windows does not detect UTF-8."""
FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
"""First characters of a formula; a text that begins so is preceded by an apostrophe."""
