"""What a workflow may have done: one class per noun, its ports given by the constructor."""
