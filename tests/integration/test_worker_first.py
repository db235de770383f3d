def test_first(stack):
    job = stack.succeed("numbers", 3)
    assert stack.rows(job) == [(1, "number 1"), (2, "number 2"), (3, "number 3")]
