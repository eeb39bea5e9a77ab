"""What can be asked for on the command line: one file a command, with its options and its words.

A command turns options into a request, calls the function that takes it, prints what came of it
for people, and gives the fields of `--json`; nothing else prints or knows a parser. Read
`arguments` first, for the options that several share, then `run` for the pattern: each file has
`<name>_arguments` and `<name>_command`. `demo_steps` is what the demo does, apart from its words.
"""
