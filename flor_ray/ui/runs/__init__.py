"""The table of runs: thirty thousand as well as three, filtered and sorted in SQL.

virtual         columns of the newest code, and what share of each is answered
last_values     of each run the last value of a feature, its least and its greatest (pure)
run_columns     which columns there are, as Arrow arrays (pure)
run_questions   filter, order and place as statements (pure)
table           these put together: a database per snapshot, and rows of it
"""
