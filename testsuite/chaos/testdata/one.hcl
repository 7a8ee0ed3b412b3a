duration = "5s"
fault "init-killed" { at = "1s" }
