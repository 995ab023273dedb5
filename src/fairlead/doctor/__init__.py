"""What `fairlead doctor` looks at: facts are collected (`facts`), judged (`judge`) and shown, each with its fix."""
