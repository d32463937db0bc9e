"""Prints compile_commands.json: compile_commands.py "<compiler and flags>" <sources...>"""
import json
import os
import sys

print(json.dumps([{"directory": os.getcwd(), "file": f, "command": f"{sys.argv[1]} -c {f}"} for f in sys.argv[2:]],
                 indent=1))
