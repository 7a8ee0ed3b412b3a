runtime "" { # wrong
  executable = "x"
}
runtime "ruby" { # wrong
  version_flag = "-v"
}
runtime "ruby" { # wrong
  executable = "-x" # wrong
  version_flag = "-v\n" # wrong
  version_output = "1[" # wrong
  additional_checks = 5.5
}
runtime "java" {
  executable = "java"
  version_output = "(?i)x" # wrong
  environment = { "1 A" = "x" } # wrong
  debug_env = { run = "X=1\n=3" } # wrong
}
runtime "node" {
  executable = "" # wrong
  environment = ["A=B"] # wrong
}
