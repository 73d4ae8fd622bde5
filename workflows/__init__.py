"""When things happen and in what order: one durable workflow per noun."""
