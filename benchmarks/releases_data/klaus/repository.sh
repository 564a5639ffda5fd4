# Make the repository that is served: always the same commits.
set -eu
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.com
export GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.com
git init -q -b master "$1"
cd "$1"
git config gc.auto 0
echo 'A shop with a few products.' > .git/description
commit() {
  export GIT_AUTHOR_DATE="2020-0$1-02T10:00:00+0000" GIT_COMMITTER_DATE="2020-0$1-02T10:00:00+0000"
  git add -A
  git commit -q -m "$2"
}
mkdir -p src docs
printf '# Shop\n\nSells *things*.\n\n- apples\n- pears\n' > README.md
printf 'def price(count):\n    """Return the price."""\n    return count * 3\n' > src/price.py
commit 1 'Start the shop'
printf 'Shop\n====\n\nA *guide*.\n' > docs/guide.rst
printf 'plain & simple <text>\n' > docs/notes.txt
commit 2 'Write a guide

It explains <everything> & more. See https://example.com/guide.'
printf 'def price(count):\n    """Return the price."""\n    return count * 4  # more\n' > src/price.py
printf '\000\001binary' > docs/picture.bin
commit 3 'Raise the price'
git tag -a -m 'First release' v1.0
git branch feature
printf 'body { color: black }\n' > src/style.css
git mv docs/notes.txt docs/remarks.txt
commit 4 'Add a style and rename the notes'
