"""``evoke dapr``: the commands of Dapr's own tool for programs that call it, on our proxy."""
