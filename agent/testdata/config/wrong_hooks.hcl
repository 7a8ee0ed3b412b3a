hooks {
  before_start = "hook" # wrong
  after_start = 1.5 # wrong
  post_setup = "echo \u0000" # wrong
  hook_timeout = "0s" # wrong
  before_strat = "/x" # wrong
}
