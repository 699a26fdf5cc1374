"""What an attack climbs: terms of one member, losses over several, and the classes they lead to."""
