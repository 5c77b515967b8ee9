"""What was recorded as relations, in SQL: tables, pivoted views, and which hindsight values a statement needs."""
