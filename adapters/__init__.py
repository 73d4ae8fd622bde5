"""How the outside is reached: databases, the payment gateway, Temporal, and the settings that say where they are."""
