nats {
  password = "hunter2 # wrong
  token = "hunter2
} # wrong
