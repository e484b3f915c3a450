from tests.chaos.shared.trial import main

raise SystemExit(main())
