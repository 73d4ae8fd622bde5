"""What things are: pure rules, states, commands and the ports through which the inside asks of the outside."""
