"""The MCP server: an MCP client asks about what is stored, ``harvester mcp``."""
