"""The MCP server: its tools, its tables, and one SELECT."""
