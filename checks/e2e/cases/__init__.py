"""Tables of byte strings, for people who do not read Python: a name, what is sent, what may come back."""
