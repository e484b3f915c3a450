"""WeChat's side: the interfaces, their requests and answers, what their codes mean."""
