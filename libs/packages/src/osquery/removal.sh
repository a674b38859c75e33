@WHERE@

@GIVE_BACK@

give_back
