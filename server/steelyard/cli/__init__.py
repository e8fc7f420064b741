"""The command `steelyard`: one module a command, imported when the command is used."""
