status {
  listen        = ":9590" # wrong
  user          = "a:b" # wrong
  password      = "hunter2"
  password_file = "relative" # wrong, and # wrong
  tls {
    cert = "/c/s.pem" # wrong
  }
  pasword = "x" # wrong
}
