"""The shape of what a collector reads."""

#: One value of one column, as it travels; None is "not known".
Value = int | float | str | bool | None

#: The rows of one reading; each row has the values of the metric's columns in their declared order.
Rows = list[tuple[Value, ...]]
