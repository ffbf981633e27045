import { field, inputs, tell, webhook, type Template } from './template.ts'

export const data: Template[] = [
  {
    slug: 'csv-report',
    category: 'data',
    definition: {
      name: 'CSV report',
      description: 'Reads a CSV table, computes the figures of one column exactly, and has them put into words.',
      inputs: inputs(
        { url: field.uri('A CSV file with a header.'), column: field.text('Name of a column of numbers.') },
        'url',
        'column',
      ),
      steps: [
        {
          id: 'table',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.url }}' },
          parse: 'csv',
          retry: { max_attempts: 3 },
        },
        {
          id: 'values',
          kind: 'transform',
          value: {
            $expr:
              'steps.table.output.body.filter(r, get(r, input.column, "") != "").map(r, double(get(r, input.column)))',
          },
        },
        {
          id: 'empty',
          kind: 'fail',
          when: 'size(steps.values.output) == 0',
          message: 'The column {{ input.column }} has no values.',
          reason: 'no-values',
        },
        {
          id: 'figures',
          kind: 'transform',
          value: {
            rows: { $expr: 'size(steps.table.output.body)' },
            values: { $expr: 'size(steps.values.output)' },
            sum: { $expr: 'sum(steps.values.output)' },
            mean: { $expr: 'round(sum(steps.values.output) / size(steps.values.output), 4)' },
            min: { $expr: 'min(steps.values.output)' },
            max: { $expr: 'max(steps.values.output)' },
          },
        },
        {
          id: 'comment',
          kind: 'llm',
          prompt: 'Put these figures of the column {{ input.column }} into two sentences. Use no others.',
          context: { $expr: 'steps.figures.output' },
        },
      ],
      output: { figures: { $expr: 'steps.figures.output' }, comment: '{{ steps.comment.output.text }}' },
    },
    example: { url: 'https://www.example.com/sales.csv', column: 'amount' },
  },
  {
    slug: 'contact-extraction',
    category: 'data',
    definition: {
      name: 'Contact extraction',
      description: 'Finds the people in a text, with company, e-mail and phone where the text gives them.',
      inputs: inputs({ text: field.text('A message, a signature or a page.'), webhook_url: webhook }, 'text'),
      steps: [
        {
          id: 'extract',
          kind: 'llm',
          system: 'You extract what a text says and add nothing. What it does not say is an empty text.',
          prompt: 'List the people in this text.',
          context: { text: '{{ input.text }}' },
          output_schema: {
            type: 'object',
            properties: {
              contacts: {
                type: 'array',
                items: {
                  type: 'object',
                  properties: {
                    name: { type: 'string' },
                    company: { type: 'string' },
                    email: { type: 'string' },
                    phone: { type: 'string' },
                  },
                  required: ['name', 'company', 'email', 'phone'],
                },
              },
            },
            required: ['contacts'],
          },
        },
        tell('send', { contacts: { $expr: 'steps.extract.output.data.contacts' } }),
      ],
      output: { $expr: 'steps.extract.output.data.contacts' },
    },
    example: { text: 'Best regards, the front desk of Example Ltd, desk@example.com' },
  },
  {
    slug: 'list-forwarder',
    category: 'data',
    definition: {
      name: 'List forwarder',
      description:
        'Reads a list from a JSON API and sends each item that is new since the last run to another address, once.',
      inputs: inputs(
        {
          source_url: field.uri('Gives the list.'),
          list_path: field.text('Where the list is in the answer. Default: the answer itself.'),
          id_path: field.text('Where the id of an item is. Default: id.'),
          target_url: field.uri('Gets each new item as a POST.'),
        },
        'source_url',
        'target_url',
      ),
      steps: [
        {
          id: 'read',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.source_url }}' },
          parse: 'json',
          retry: { max_attempts: 3 },
        },
        {
          id: 'list',
          kind: 'transform',
          value: {
            $expr: 'has(input.list_path) ? get(steps.read.output.body, input.list_path, []) : steps.read.output.body',
          },
        },
        {
          id: 'fresh',
          kind: 'transform',
          value: {
            $expr:
              'steps.list.output.filter(i, !(get(i, get(input, "id_path", "id")) in get(previous, "output.seen", []))).slice(0, 200)',
          },
        },
        {
          id: 'each',
          kind: 'foreach',
          items: { $expr: 'steps.fresh.output' },
          as: 'item',
          concurrency: 2,
          steps: [
            {
              id: 'send',
              kind: 'http',
              request: { method: 'POST', url: '{{ input.target_url }}', body: { $expr: 'item' } },
              retry: { max_attempts: 3 },
            },
          ],
        },
      ],
      output: {
        sent: { $expr: 'size(steps.fresh.output)' },
        seen: {
          $expr:
            'unique(flatten([steps.fresh.output.map(i, get(i, get(input, "id_path", "id"))), get(previous, "output.seen", [])])).slice(0, 2000)',
        },
      },
    },
    example: {
      source_url: 'https://api.example.com/orders',
      list_path: 'orders',
      target_url: 'https://hooks.example.com/orders',
    },
  },
]
