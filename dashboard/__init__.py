"""What people look at while a run goes: events, and the live display of the terminal."""
