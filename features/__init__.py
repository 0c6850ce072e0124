"""From a query to its context: text statistics, embedding, projection."""
