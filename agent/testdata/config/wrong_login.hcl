nats {
  servers = ["localhost:4222", "http://u:hunter2@a", "nats://"] # wrong # wrong # wrong
  password = "hunter2" # wrong
  password_file = "/etc/password" # wrong
  token = env("DEACON_TEST_NOT_SET") # wrong
  nkey_file = "seed" # wrong # wrong
  creds_file = "/creds" # wrong
  tls {
    cert = "/cert.pem" # wrong
  }
}
node {
  address = "10.254.7.7" # wrong
}
