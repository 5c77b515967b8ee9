"""In which region of a run a statement is executed, through calls from function to function and file to file."""
