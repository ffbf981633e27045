import { field, inputs, tell, webhook, type Template } from './template.ts'

export const content: Template[] = [
  {
    slug: 'feed-digest',
    category: 'content',
    definition: {
      name: 'Feed digest',
      description: 'Sums up what is new in a feed since the last run with the same schedule or state_key.',
      inputs: inputs(
        {
          feed_url: field.uri('An RSS, Atom or JSON feed.'),
          max_items: { type: 'integer', minimum: 1, maximum: 50, description: 'Items at most. Default 10.' },
          webhook_url: webhook,
        },
        'feed_url',
      ),
      steps: [
        {
          id: 'fetch',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.feed_url }}' },
          parse: 'feed',
          retry: { max_attempts: 4 },
        },
        {
          id: 'fresh',
          kind: 'transform',
          value: {
            $expr:
              'steps.fetch.output.body.items.filter(i, !(get(i, "id") in get(previous, "output.seen", []))).slice(0, get(input, "max_items", 10))',
          },
        },
        {
          id: 'digest',
          kind: 'llm',
          when: 'size(steps.fresh.output) > 0',
          system: 'You write short news digests: one sentence an item, no opinion.',
          prompt: 'Sum up these items.',
          context: { $expr: 'steps.fresh.output.map(i, {"title": get(i, "title"), "summary": get(i, "summary")})' },
        },
        tell('send', { text: '{{ steps.digest.output.text }}' }, 'size(steps.fresh.output) > 0'),
      ],
      output: {
        digest: { $expr: 'get(steps.digest, "output.text")' },
        new_items: { $expr: 'size(steps.fresh.output)' },
        seen: { $expr: 'steps.fetch.output.body.items.map(i, get(i, "id")).slice(0, 500)' },
      },
    },
    example: { feed_url: 'https://www.example.com/feed.xml', max_items: 5 },
  },
  {
    slug: 'page-summary',
    category: 'content',
    definition: {
      name: 'Page summary',
      description: 'Reads a page and sums it up.',
      inputs: inputs(
        {
          url: field.uri('The page.'),
          focus: field.text('What to look for. Default: the main points.'),
        },
        'url',
      ),
      steps: [
        {
          id: 'page',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.url }}' },
          parse: 'html_text',
          retry: { max_attempts: 3 },
        },
        {
          id: 'summary',
          kind: 'llm',
          prompt:
            'Sum up this page in at most five sentences. Look for: {{ input.focus | default: "the main points" }}.',
          context: { $expr: 'slice(steps.page.output.body, 0, 40000)' },
        },
      ],
      output: '{{ steps.summary.output.text }}',
    },
    example: { url: 'https://www.example.com/' },
  },
  {
    slug: 'translate-text',
    category: 'content',
    definition: {
      name: 'Translate a text',
      description: 'Translates a text and keeps names, figures and line breaks.',
      inputs: inputs(
        { text: field.text('What to translate.'), language: field.text('Into which language.') },
        'text',
        'language',
      ),
      steps: [
        {
          id: 'translate',
          kind: 'llm',
          system: 'You translate faithfully. Names, figures, links and line breaks stay as they are.',
          prompt: 'Translate this text into {{ input.language }}. Answer with the translation alone.',
          context: { text: '{{ input.text }}' },
        },
      ],
      output: '{{ steps.translate.output.text }}',
    },
    example: { text: 'The harbour bridge closes on Monday.', language: 'French' },
  },
  {
    slug: 'source-briefing',
    category: 'content',
    definition: {
      name: 'Briefing from several sources',
      description:
        'Reads several pages, sums up each, and answers a question from them. A page that cannot be read is named.',
      inputs: inputs(
        { question: field.text('What to find out.'), urls: field.uris('Pages to read.', 20) },
        'question',
        'urls',
      ),
      steps: [
        {
          id: 'each',
          kind: 'foreach',
          items: { $expr: 'input.urls' },
          as: 'url',
          concurrency: 4,
          on_item_error: 'collect',
          steps: [
            {
              id: 'page',
              kind: 'http',
              request: { method: 'GET', url: '{{ url }}' },
              parse: 'html_text',
              retry: { max_attempts: 2 },
            },
            {
              id: 'note',
              kind: 'llm',
              prompt: 'What does this page say about: {{ input.question }}',
              context: { $expr: 'slice(steps.page.output.body, 0, 20000)' },
            },
            { id: 'found', kind: 'transform', value: { url: '{{ url }}', note: '{{ steps.note.output.text }}' } },
          ],
        },
        { id: 'notes', kind: 'transform', value: { $expr: 'steps.each.output.filter(n, n != null)' } },
        {
          id: 'none',
          kind: 'fail',
          when: 'size(steps.notes.output) == 0',
          message: 'None of the pages could be read.',
          reason: 'no-source',
        },
        {
          id: 'answer',
          kind: 'llm',
          prompt: 'Answer from these notes, and name the page that each statement comes from: {{ input.question }}',
          context: { $expr: 'steps.notes.output' },
        },
      ],
      output: {
        answer: '{{ steps.answer.output.text }}',
        sources: { $expr: 'steps.notes.output.map(n, n.url)' },
        unread: { $expr: 'input.urls.filter(u, !(u in steps.notes.output.map(n, n.url)))' },
      },
    },
    example: { question: 'What changes next month?', urls: ['https://www.example.com/'] },
  },
  {
    slug: 'announcement-drafts',
    category: 'content',
    definition: {
      name: 'Announcement drafts',
      description: 'Drafts one announcement in three lengths: a headline, a short post and a message.',
      inputs: inputs(
        {
          facts: field.texts('What is to be said, one fact an entry.', 30),
          audience: field.text('Who reads it. Default: customers.'),
        },
        'facts',
      ),
      steps: [
        {
          id: 'drafts',
          kind: 'llm',
          system: 'You write plainly and claim nothing that the facts do not say.',
          prompt: 'Draft this announcement for {{ input.audience | default: "customers" }}.',
          context: { $expr: 'input.facts' },
          output_schema: {
            type: 'object',
            properties: {
              headline: { type: 'string', minLength: 1, maxLength: 120 },
              post: { type: 'string', minLength: 1, maxLength: 400 },
              message: { type: 'string', minLength: 1 },
            },
            required: ['headline', 'post', 'message'],
          },
        },
      ],
      output: { $expr: 'steps.drafts.output.data' },
    },
    example: { facts: ['Version 2 is out.', 'It starts in half the time.'] },
  },
]
